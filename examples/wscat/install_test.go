package main

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// version is what go.mod requires of the library.
const version = "v0.1.0"

// TestGoRun runs the program as people do who have no clone, by its path and a
// version. That fails if go.mod has a replace directive, or needs something that
// is only in this tree.
func TestGoRun(t *testing.T) {
	t.Parallel()
	library := module.Version{Path: "github.com/fullduplex-go/websocket", Version: version}
	program := module.Version{Path: library.Path + "/examples/wscat", Version: version}
	proxy := t.TempDir()
	publish(t, proxy, library, "../..")
	publish(t, proxy, program, ".")

	downloaded := filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it compiles both modules
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "run", program.String(), "-x", "hello", "-n", "1", serve(t, nil, echo))
	cmd.Dir = t.TempDir() // outside of any module
	cmd.Env = append(os.Environ(),
		"GOPROXY="+fileURL(proxy)+","+fileURL(downloaded), // and no network
		"GOMODCACHE="+filepath.Join(t.TempDir(), "mod"),   // ours does not get to know this version
		"GOFLAGS=-modcacherw",                             // so that it can be removed
		"GOSUMDB=off", "GOWORK=off", "GO111MODULE=on", "GOPRIVATE=", "GONOPROXY=", "GOTOOLCHAIN=local",
	)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("%v: got %q, %v; standard error is %s", cmd.Args, out, err, stderr.String())
	}
}

// publish puts the module that lies in a directory into the file tree of a module
// proxy.
func publish(t *testing.T, proxy string, m module.Version, dir string) {
	t.Helper()
	versions := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(versions, 0o700); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(versions, "list"), []byte(m.Version+"\n"))
	write(t, filepath.Join(versions, m.Version+".info"), []byte(`{"Version":"`+m.Version+`"}`))
	write(t, filepath.Join(versions, m.Version+".mod"), mod)
	f, err := os.Create(filepath.Join(versions, m.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zip.CreateFromDir(f, m, dir); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fileURL returns the URL of a directory.
func fileURL(dir string) string {
	return (&url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(dir), "/")}).String()
}

// goEnv returns a setting of the go command.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
