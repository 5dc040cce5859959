package wstest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
)

// frames are frames and their bytes from a client and from a server. The
// examples are those of RFC 6455, Section 5.7.
var frames = []struct {
	name           string
	frame          Frame
	client, server string
}{
	{"example of text", TextFrame("Hello"), "8185 37fa213d 7f9f4d5158", "8105 48656c6c6f"},
	{"example of a fragment", TextFrame("Hel").Fragment(), "0183 37fa213d 7f9f4d", "0103 48656c"},
	{"example of a ping", PingFrame("Hello"), "8985 37fa213d 7f9f4d5158", "8905 48656c6c6f"},
	{"pong", PongFrame(""), "8a80 37fa213d", "8a00"},
	{"binary", BinaryFrame([]byte{0}), "8281 37fa213d 37", "8201 00"},
	{"close", CloseFrame(websocket.CloseNormal, "!"), "8883 37fa213d 341200", "8803 03e821"},
	{"close without a code", CloseFrame(0, "dropped"), "8880 37fa213d", "8800"},
	{"masked by anyone", Frame{Mask: Masked, Key: &[4]byte{1, 2, 3, 4}, Payload: []byte("\x00")}, "0081 01020304 01", "0081 01020304 01"},
	{"masked by nobody", Frame{Mask: Unmasked, Payload: []byte("a")}, "0001 61", "0001 61"},
	{"all reserved", Frame{FIN: true, RSV: RSV1 | RSV2 | RSV3, Opcode: 15}, "ff80 37fa213d", "ff00"},
	{"16 bits for nothing", Frame{Form: Length16}, "00fe0000 37fa213d", "007e0000"},
	{"64 bits for nothing", Frame{Form: Length64}, "00ff0000000000000000 37fa213d", "007f0000000000000000"},
	{"a control frame that is too long", PingFrame(strings.Repeat("\x00", 126)), "89fe007e 37fa213d" + strings.Repeat("37fa213d", 31) + "37fa", "897e007e" + strings.Repeat("00", 126)},
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func TestFrames(t *testing.T) {
	for _, f := range frames {
		t.Run(f.name, func(t *testing.T) {
			client, server := unhex(t, f.client), unhex(t, f.server)
			require.Equal(t, client, appendFrame(nil, f.frame, true))
			require.Equal(t, server, appendFrame(nil, f.frame, false))
			for _, b := range [][]byte{client, server} {
				got, err := readFrame(bufio.NewReader(bytes.NewReader(b)))
				require.NoError(t, err)
				require.Equal(t, b, appendFrame(nil, got, false))
				require.Equal(t, b, appendFrame(nil, got, true))
			}
		})
	}
}

func TestFrameCutAnywhere(t *testing.T) {
	long := appendFrame(nil, BinaryFrame(make([]byte, 70000)), true)[:20]
	for _, b := range [][]byte{unhex(t, frames[0].client), unhex(t, "007e0100"), long} {
		for n := range len(b) {
			_, err := readFrame(bufio.NewReader(bytes.NewReader(b[:n])))
			if n == 0 {
				require.Equal(t, io.EOF, err)
			} else {
				require.Equal(t, io.ErrUnexpectedEOF, err, "%x", b[:n])
			}
		}
	}
}

func TestFrameAnnouncesAnything(t *testing.T) {
	for length, want := range map[uint64]string{
		5:       "8205 61",
		126:     "827e007e 61",
		1 << 16: "827f0000000000010000 61",
		1 << 63: "827f8000000000000000 61",
	} {
		f := Frame{FIN: true, Opcode: OpBinary, Length: length, Payload: []byte("a")}
		require.Equal(t, unhex(t, want), appendFrame(nil, f, false))
	}
	_, err := readFrame(bufio.NewReader(bytes.NewReader(unhex(t, "827f8000000000000000"))))
	require.ErrorContains(t, err, "too long to be read")
}

func TestFrameClose(t *testing.T) {
	code, reason := CloseFrame(websocket.CloseGoingAway, "bye").CloseCode()
	require.Equal(t, websocket.CloseGoingAway, code)
	require.Equal(t, "bye", reason)
	code, reason = Frame{Opcode: OpClose, Payload: []byte{3}}.CloseCode()
	require.Equal(t, websocket.CloseNoStatus, code)
	require.Empty(t, reason)
}

func TestFrameString(t *testing.T) {
	f := TextFrame(strings.Repeat("a", 100))
	f.RSV = RSV2
	require.Equal(t, `{FIN:true RSV:010 opcode:1 mask:0 form:0 100 bytes "`+strings.Repeat("a", 64)+`"}`, f.String())
}
