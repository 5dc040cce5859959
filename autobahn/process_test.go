package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/report"
)

// asProgram is set in the environment of a test binary that runs as the program
// itself.
const asProgram = "AUTOBAHN_PROGRAM"

// program returns a command that runs the program in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), test, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// listening starts a program that listens, and returns it and the URL in its
// first line. The rest of what it prints is dropped.
func listening(t *testing.T, args ...string) (*exec.Cmd, string) {
	cmd := program(t, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, in)
	return cmd, strings.TrimSpace(line[strings.Index(line, "ws://"):])
}

// TestServerProcess judges the server command with the judge command.
func TestServerProcess(t *testing.T) {
	t.Parallel()
	server, url := listening(t, "server", "-addr", "127.0.0.1:0")
	dir := t.TempDir()
	out, err := program(t, "judge", "-url", url, "-agent", "me", "-cases", someCases, "-patience", "10", "-out", dir).Output()
	if want := "me: 16 of 16 strictly OK, 0 unimplemented, 0 not"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, output lacks %q:\n%s", err, want, out)
	}
	if index, err := report.Read(filepath.Join(dir, "index.json")); err != nil || len(index["me"]) != 16 {
		t.Errorf("%d entries, %v", len(index["me"]), err)
	}
	if runtime.GOOS == "windows" {
		server.Process.Kill()
		server.Wait()
		return
	}
	server.Process.Signal(os.Interrupt)
	if err := server.Wait(); err != nil {
		t.Errorf("the interrupted server: %v", err)
	}
}

// TestClientProcess judges the client command with the judge command, which is
// stopped in the same way as the suite.
func TestClientProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	judge, url := listening(t, "judge", "-listen", "127.0.0.1:0", "-cases", someCases, "-patience", "10", "-out", dir)
	url = strings.TrimSuffix(url, "/")
	out, err := program(t, "client", "-url", url, "-agent", "me").Output()
	if err != nil || !strings.Contains(string(out), "case 16 of 16") {
		t.Errorf("%v\n%s", err, out)
	}
	conn, _, err := websocket.Dial(t.Context(), url+"/stopServer", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(websocket.CloseNormal, "")
	if err := judge.Wait(); err != nil {
		t.Errorf("the judge: %v", err)
	}
	if index, err := report.Read(filepath.Join(dir, "index.json")); err != nil || len(index["me"]) != 16 {
		t.Errorf("%d entries, %v", len(index["me"]), err)
	}
}

// TestFailingProcess judges a server without compression: the exit status must
// report the failure.
func TestFailingProcess(t *testing.T) {
	t.Parallel()
	server, url := listening(t, "server", "-addr", "127.0.0.1:0", "-plain")
	out, err := program(t, "judge", "-url", url, "-cases", "1.1.1,12.1.1", "-patience", "10").Output()
	if want := ": 1 of 2 strictly OK, 1 unimplemented, 0 not"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, output lacks %q:\n%s", err, want, out)
	}
	server.Process.Kill()
	server.Wait()
}
