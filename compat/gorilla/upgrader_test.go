package websocket_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// handshakeFields are those of an opening handshake.
var handshakeFields = map[string]string{
	"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

// newRequest returns an opening handshake with some fields replaced, or removed
// if they are "".
func newRequest(url string, replaced map[string]string) *http.Request {
	r, _ := http.NewRequest(http.MethodGet, strings.Replace(url, "ws", "http", 1), nil)
	for _, fields := range []map[string]string{handshakeFields, replaced} {
		for name, value := range fields {
			r.Header.Del(name)
			if value != "" {
				r.Header.Set(name, value)
			}
		}
	}
	if method := replaced["method"]; method != "" {
		r.Method = method
	}
	return r
}

// TestRefusals proves that bad requests have the same status as with the
// original, and that Error is called instead of writing it.
func TestRefusals(t *testing.T) {
	refusals := map[string]map[string]string{
		"no Connection":  {"Connection": ""},
		"no Upgrade":     {"Upgrade": ""},
		"other Upgrade":  {"Upgrade": "h2c"},
		"POST":           {"method": "POST"},
		"no version":     {"Sec-WebSocket-Version": ""},
		"version":        {"Sec-WebSocket-Version": "12"},
		"no key":         {"Sec-WebSocket-Key": ""},
		"key":            {"Sec-WebSocket-Key": "short"},
		"foreign Origin": {"Origin": "https://evil.example"},
		"plain GET":      {"Connection": "", "Upgrade": "", "Sec-WebSocket-Version": "", "Sec-WebSocket-Key": ""},
	}
	var hooked []int
	errs := make(chan error, 1)
	upgrade := map[string]func(w http.ResponseWriter, r *http.Request){
		"/ours": func(w http.ResponseWriter, r *http.Request) {
			_, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			errs <- err
		},
		"/hook": func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
				hooked = append(hooked, status)
				w.WriteHeader(http.StatusTeapot)
			}}
			_, err := up.Upgrade(w, r, nil)
			errs <- err
		},
		"/theirs": func(w http.ResponseWriter, r *http.Request) {
			_, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
			errs <- err
		},
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { upgrade[r.URL.Path](w, r) })
	for name, fields := range refusals {
		status := make(map[string]int)
		for path := range upgrade {
			response, err := http.DefaultClient.Do(newRequest(url+path, fields))
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			status[path] = response.StatusCode
			refusal := receive(t, errs)
			if path == "/theirs" {
				continue
			}
			var e websocket.HandshakeError
			require.True(t, errors.As(refusal, &e), name)
			require.True(t, strings.HasPrefix(e.Error(), "websocket: "), e)
			if path == "/ours" {
				require.Equal(t, "13", response.Header.Get("Sec-WebSocket-Version"))
				require.Equal(t, http.StatusText(response.StatusCode)+"\n", string(body))
			} else {
				require.Equal(t, http.StatusTeapot, response.StatusCode)
				require.Empty(t, body)
			}
		}
		require.Equal(t, status["/theirs"], status["/ours"], name)
		require.Equal(t, status["/theirs"], hooked[len(hooked)-1], name)
	}
}

// TestCheckOrigin compares what the default allows with what the original
// allows, and proves that a function decides instead.
func TestCheckOrigin(t *testing.T) {
	for _, origin := range []string{
		"", "http://example.com", "https://example.com", "https://EXAMPLE.com", "http://example.com:80", "http://example.com:8080",
		"http://example.org", "http://sub.example.com", "null", "example.com", "http://example.com/path", "%zz",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
		for name, value := range handshakeFields {
			r.Header.Set(name, value)
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		theirs, ours := httptest.NewRecorder(), httptest.NewRecorder()
		new(gorilla.Upgrader).Upgrade(theirs, r, nil)
		new(websocket.Upgrader).Upgrade(ours, r, nil)
		require.Equal(t, theirs.Code, ours.Code, origin)
		for _, allowed := range []bool{true, false} {
			up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return allowed }}
			w := httptest.NewRecorder()
			up.Upgrade(w, r, nil)
			require.Equal(t, !allowed, w.Code == http.StatusForbidden)
		}
	}
}

// TestUpgradeHeader proves that the fields that were given are in the response,
// once, with those of the ResponseWriter at most.
func TestUpgradeHeader(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Here", "yes")
		h := w.Header()
		if r.URL.Path == "/own" {
			h = http.Header{"Set-Cookie": {"a=1", "b=2"}}
		}
		if c, err := new(websocket.Upgrader).Upgrade(w, r, h); err == nil {
			c.Close()
		}
	})
	for path, want := range map[string]http.Header{"/own": {"Set-Cookie": {"a=1", "b=2"}}, "/same": {"X-Here": {"yes"}}} {
		c, response, err := gorilla.DefaultDialer.Dial(url+path, nil)
		require.NoError(t, err)
		defer c.Close()
		for name, values := range want {
			require.Equal(t, values, response.Header[name])
		}
	}
}

// TestUpgradeExtensionsField proves that the application cannot set a field that
// is not its own.
func TestUpgradeExtensionsField(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	_, err := new(websocket.Upgrader).Upgrade(w, r, http.Header{"Sec-Websocket-Extensions": {"x"}})
	require.ErrorAs(t, err, new(websocket.HandshakeError))
	require.Equal(t, http.StatusInternalServerError, w.Code)
}

// TestUpgradeHidden proves that a ResponseWriter that cannot be taken over is
// refused.
func TestUpgradeHidden(t *testing.T) {
	refused := make(chan error, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := new(websocket.Upgrader).Upgrade(struct{ http.ResponseWriter }{w}, r, nil)
		refused <- err
	})
	_, response, err := gorilla.DefaultDialer.Dial(url, nil)
	require.Error(t, err)
	require.Equal(t, http.StatusInternalServerError, response.StatusCode)
	require.ErrorAs(t, receive(t, refused), new(websocket.HandshakeError))
}

// TestSubprotocols compares what is agreed on with what the original agrees on,
// for all that a client may offer and a server may say.
func TestSubprotocols(t *testing.T) {
	for _, offered := range [][]string{nil, {"a"}, {"b", "a"}, {"c"}} {
		for _, supported := range [][]string{nil, {"a", "b"}, {}} {
			for _, chosen := range []string{"", "a"} {
				var h http.Header
				if chosen != "" {
					h = http.Header{"Sec-Websocket-Protocol": {chosen}}
				}
				ours, theirs := make(chan string, 1), make(chan string, 1)
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/ours" {
						up := websocket.Upgrader{Subprotocols: supported}
						if c, err := up.Upgrade(w, r, h); err == nil {
							ours <- c.Subprotocol()
							c.Close()
						}
						return
					}
					up := gorilla.Upgrader{Subprotocols: supported}
					if c, err := up.Upgrade(w, r, h); err == nil {
						theirs <- c.Subprotocol()
						c.Close()
					}
				})
				client := func(path string) string {
					d := websocket.Dialer{Subprotocols: offered}
					c, response, err := d.Dial(url+path, nil)
					if err != nil { // the original chooses what was not offered
						require.Equal(t, "/theirs", path)
						require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
						return ""
					}
					defer c.Close()
					return c.Subprotocol()
				}
				got, want := client("/ours"), client("/theirs")
				require.Equal(t, want, got, "%v %v %q", offered, supported, chosen)
				require.Equal(t, got, receive(t, ours))
				receive(t, theirs)
			}
		}
	}
}

// TestRequestFunctions proves what the functions say that look at a request.
func TestRequestFunctions(t *testing.T) {
	for _, fields := range []map[string]string{nil, {"Upgrade": "h2c"}, {"Connection": "keep-alive, upgrade"}, {"Connection": "close"}, {"Sec-WebSocket-Protocol": "a, b"}} {
		r := newRequest("ws://example.com/", fields)
		require.Equal(t, gorilla.IsWebSocketUpgrade(r), websocket.IsWebSocketUpgrade(r), fields)
		require.Equal(t, gorilla.Subprotocols(r), websocket.Subprotocols(r), fields)
	}
}

// TestDeprecatedUpgrade proves that it checks no Origin, and leaves the answer
// to bad requests to its caller.
func TestDeprecatedUpgrade(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r, nil, 1024, 1024)
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		defer c.Close()
		messageType, p, _ := c.ReadMessage()
		c.WriteMessage(messageType, p)
	})
	bad, err := http.DefaultClient.Do(newRequest(url, map[string]string{"Upgrade": ""}))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, bad.StatusCode)
	c, _, err := gorilla.DefaultDialer.Dial(url, http.Header{"Origin": {"https://other.example"}})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WriteMessage(gorilla.TextMessage, []byte("hi")))
	_, p, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "hi", string(p))
}

// TestUpgradeEarlyBytes proves that frames that come with the request are read.
func TestUpgradeEarlyBytes(t *testing.T) {
	read := make(chan string, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
			defer c.Close()
			_, p, _ := c.ReadMessage()
			read <- string(p)
		}
	})
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	require.NoError(t, err)
	defer nc.Close()
	b := bufio.NewWriter(nc)
	newRequest(url, nil).Write(b)
	b.WriteString("\x81\x82\x00\x00\x00\x00hi")
	require.NoError(t, b.Flush())
	require.Equal(t, "hi", receive(t, read))
}
