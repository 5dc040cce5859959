package websocket

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEqualConfigsAreShared proves that connections with equal configurations
// share one with the defaults filled in, and that a difference in any field
// parts them.
func TestEqualConfigsAreShared(t *testing.T) {
	list := []string{"a", "b"}
	first := (&Config{Subprotocols: list}).withDefaults()
	require.Same(t, first, (&Config{Subprotocols: list}).withDefaults())
	require.NotSame(t, first, (&Config{Subprotocols: []string{"a", "b"}}).withDefaults(), "its owner may change it")
	require.NotSame(t, first, (&Config{Subprotocols: list[:1]}).withDefaults())

	for i := range reflect.TypeFor[Config]().NumField() {
		c := Config{Subprotocols: list}
		field := reflect.ValueOf(&c).Elem().Field(i)
		switch field.Kind() {
		case reflect.Slice:
			field.Set(reflect.ValueOf([]string{"c"}))
		case reflect.Func:
			field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Uint8:
			field.SetUint(1)
		default:
			field.SetInt(4321)
		}
		changed := c.withDefaults()
		require.NotSame(t, first, changed, reflect.TypeFor[Config]().Field(i).Name)
		require.False(t, changed.equals(first))
	}
}

// TestDurations proves what zero, negative and the largest values mean for every
// duration of Config.
func TestDurations(t *testing.T) {
	covers(t, "V13")
	const off = 0
	for name, want := range map[string]struct{ zero, negative, largest time.Duration }{
		"PingInterval":     {30 * time.Second, off, off},
		"PongTimeout":      {20 * time.Second, forever, forever},
		"WriteTimeout":     {30 * time.Second, off, off},
		"IdleTimeout":      {off, off, off},
		"HandshakeTimeout": {10 * time.Second, forever, forever},
		"CloseTimeout":     {5 * time.Second, 5 * time.Second, forever}, // negative: check refuses it
		"HoldReplies":      {100 * time.Microsecond, off, forever},
	} {
		for value, want := range map[time.Duration]time.Duration{
			0: want.zero, -1: want.negative, -time.Hour: want.negative, math.MinInt64: want.negative,
			math.MaxInt64: want.largest, longest + 1: want.largest, 1: 1, time.Hour: time.Hour, longest: longest,
		} {
			var c Config
			reflect.ValueOf(&c).Elem().FieldByName(name).SetInt(int64(value))
			got := time.Duration(reflect.ValueOf(c.withDefaults()).Elem().FieldByName(name).Int())
			require.Equal(t, want, got, "%s: %d", name, value)
			refused := c.check()
			require.Equal(t, name == "CloseTimeout" && value < 0, refused != nil, "%s: %d: got %v", name, value, refused)
		}
	}
	seen := 0
	for i := range reflect.TypeFor[Config]().NumField() {
		if reflect.TypeFor[Config]().Field(i).Type == reflect.TypeFor[time.Duration]() {
			seen++
		}
	}
	require.Equal(t, 7, seen, "a duration of Config is missing here")
}

// misconfigured are configurations with a value that means nothing, and what
// the error says about it.
var misconfigured = map[string]Config{
	"MaxQueuedBytes is -1":                   {MaxQueuedBytes: -1},
	"SlowConsumer is 4":                      {SlowConsumer: CloseSlow + 1},
	"CloseTimeout is -1ns: Close must end":   {CloseTimeout: -1},
	"ReadBufferSize is -1":                   {ReadBufferSize: -1},
	"ReadBufferSize is 255":                  {ReadBufferSize: 255},
	"ReadBufferSize is 1048577":              {ReadBufferSize: 1<<20 + 1},
	"Compression.Level is -1":                {Compression: &Compression{Level: -1}},
	"Compression.Level is 10":                {Compression: &Compression{Level: 10}},
	"Compression.WindowBits is -1":           {Compression: &Compression{WindowBits: -1}},
	"Compression.WindowBits is 8":            {Compression: &Compression{WindowBits: 8}},
	"Compression.WindowBits is 16":           {Compression: &Compression{WindowBits: 16}},
	"Compression.PeerWindowBits is -9":       {Compression: &Compression{PeerWindowBits: -9}},
	"Compression.PeerWindowBits is 8":        {Compression: &Compression{PeerWindowBits: 8}},
	"Compression.PeerWindowBits is 16":       {Compression: &Compression{PeerWindowBits: 16}},
	`subprotocol "a b" is not a token`:       {Subprotocols: []string{"a b"}},
	`subprotocol "" is not a token`:          {Subprotocols: []string{""}},
	`subprotocol "a,b" is not a token`:       {Subprotocols: []string{"a,b"}},
	`subprotocol "a" is listed twice`:        {Subprotocols: []string{"a", "b", "a"}},
	`subprotocol "a\r\nX: y" is not a token`: {Subprotocols: []string{"a\r\nX: y"}},
}

// TestMisconfiguredServer proves that the first request is answered with 500,
// whatever it says, by every entry point.
func TestMisconfiguredServer(t *testing.T) {
	covers(t, "V22")
	for want, c := range misconfigured {
		var log bytes.Buffer
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		opts := &AcceptOptions{Config: c}
		w := httptest.NewRecorder()
		_, err := Accept(w, parsed(t, request("POST /chat HTTP/1.1")), opts)
		mustBeMisconfigured(t, err, 500, want)
		require.Equal(t, "server is set up wrongly\n", w.Body.String())

		near, far := net.Pipe()
		go func() {
			io.WriteString(near, request())
			io.Copy(io.Discard, near)
		}()
		_, _, err = AcceptConn(t.Context(), far, opts)
		mustBeMisconfigured(t, err, 500, want)

		w = httptest.NewRecorder()
		HandlerFunc(opts, echo).ServeHTTP(w, parsed(t, request()))
		require.Equal(t, 500, w.Code, want)
		require.Contains(t, strings.ReplaceAll(log.String(), `\`, ""), strings.ReplaceAll(want, `\`, ""))
	}
}

// TestMisconfiguredClient proves that a wrong Config is refused before dialing.
func TestMisconfiguredClient(t *testing.T) {
	covers(t, "V22")
	for want, c := range misconfigured {
		opts := &DialOptions{Config: c, NetDial: func(context.Context, string, string) (net.Conn, error) {
			assert.Fail(t, "dialed", want)
			return nil, io.EOF
		}}
		_, _, err := Dial(t.Context(), "ws://h", opts)
		mustBeMisconfigured(t, err, 0, want)

		near, far := net.Pipe()
		_, _, err = DialConn(t.Context(), near, "ws://h", opts)
		mustBeMisconfigured(t, err, 0, want)
		_, err = far.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "the connection is open")

		rounds := 0
		for _, err := range Redial(t.Context(), "ws://h", opts, Backoff{}) {
			rounds++
			mustBeMisconfigured(t, err, 0, want)
		}
		require.Equal(t, 1, rounds)
	}
}

// mustBeMisconfigured checks the HandshakeError in err.
func mustBeMisconfigured(t *testing.T, err error, status int, want string) {
	t.Helper()
	var e *HandshakeError
	require.ErrorAs(t, err, &e)
	require.Equal(t, status, e.Status)
	require.Contains(t, err.Error(), want)
}

// TestLimitsOfConfig proves that the values at the ends of their ranges are
// accepted.
func TestLimitsOfConfig(t *testing.T) {
	covers(t, "V22")
	for _, c := range []Config{
		{}, {Compression: &Compression{}},
		{MaxMessageSize: -1, MaxFragments: -1, MaxQueuedBytes: math.MaxInt},
		{MaxMessageSize: math.MaxInt64, MaxFragments: math.MaxInt, ReadBufferSize: 256},
		{SlowConsumer: CloseSlow, ReadBufferSize: 1 << 20},
		{Compression: &Compression{Level: 1, WindowBits: 9, PeerWindowBits: 9, Threshold: -1}},
		{Compression: &Compression{Level: 9, WindowBits: 15, PeerWindowBits: 15, Threshold: math.MaxInt, RequirePeer: true}},
		{Subprotocols: []string{"chat", "Chat"}},
	} {
		require.NoError(t, c.check())
		require.NoError(t, newAcceptor(&AcceptOptions{Config: c}).optionsErr)
		_, err := newDialer("ws://h", &DialOptions{Config: c})
		require.NoError(t, err)
	}
}
