package h2_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	_ "github.com/fullduplex-go/websocket/h2"
	"github.com/stretchr/testify/require"
)

// childVariable makes a test the program that TestEnvironment starts.
const childVariable = "H2_TEST_CHILD"

// TestEnvironment starts programs that import this package with several values of
// GODEBUG, and asks what they offer, and what their environment is afterwards.
func TestEnvironment(t *testing.T) {
	covers(t, "H20")
	if os.Getenv(childVariable) != "" {
		value, found := os.LookupEnv("GODEBUG")
		fmt.Printf("offers %v, GODEBUG %q %v\n", offersExtendedConnect(t), value, found)
		return
	}
	if _, err := exec.LookPath(os.Args[0]); err != nil {
		t.Skipf("no processes: %v", err)
	}
	for _, test := range []struct {
		name, value string
		isSet       bool
		want        string
	}{
		{"unset", "", false, `offers true, GODEBUG "" false`},
		{"empty", "", true, `offers true, GODEBUG "" true`},
		{"another setting", "http2debug=0", true, `offers true, GODEBUG "http2debug=0" true`},
		{"on", "http2xconnect=1", true, `offers true, GODEBUG "http2xconnect=1" true`},
		{"the operator's veto", "gotypesalias=1,http2xconnect=0", true, `offers false, GODEBUG "gotypesalias=1,http2xconnect=0" true`},
	} {
		t.Run(test.name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestEnvironment$", "-test.v")
			for _, v := range os.Environ() {
				if !strings.HasPrefix(v, "GODEBUG=") {
					child.Env = append(child.Env, v)
				}
			}
			child.Env = append(child.Env, childVariable+"=1")
			if test.isSet {
				child.Env = append(child.Env, "GODEBUG="+test.value)
			}
			output, err := child.CombinedOutput()
			require.NoError(t, err, string(output))
			require.Contains(t, string(output), test.want)
		})
	}
}

// covers names the requirements that the test proves, for TestRequirements of the
// root.
func covers(testing.TB, ...string) {}

// offersExtendedConnect reports whether the first settings of a server of net/http
// have ENABLE_CONNECT_PROTOCOL (RFC 8441, Section 3).
func offersExtendedConnect(t *testing.T) bool {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	defer s.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	require.NoError(t, err)
	head := make([]byte, 9)
	_, err = io.ReadFull(nc, head)
	require.NoError(t, err)
	require.EqualValues(t, 4, head[3], "the first frame is SETTINGS")
	settings := make([]byte, binary.BigEndian.Uint32(head)>>8)
	_, err = io.ReadFull(nc, settings)
	require.NoError(t, err)
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == 8 {
			return binary.BigEndian.Uint32(settings[2:]) == 1
		}
	}
	return false
}
