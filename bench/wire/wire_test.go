package wire

import (
	"bytes"
	"strings"
	"testing"
)

// TestExamples checks the example frames of RFC 6455, Section 5.7.
func TestExamples(t *testing.T) {
	hello := []byte("Hello")
	tests := []struct {
		name    string
		first   byte
		payload []byte
		key     []byte
		want    []byte
	}{
		{"unmasked text", FIN | Text, hello, nil, []byte("\x81\x05Hello")},
		{"masked text", FIN | Text, hello, []byte{0x37, 0xfa, 0x21, 0x3d}, []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")},
		{"256 bytes", FIN | Binary, make([]byte, 256), nil, append([]byte("\x82\x7e\x01\x00"), make([]byte, 256)...)},
		{"64 KiB", FIN | Binary, make([]byte, 65536), nil, append([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), make([]byte, 65536)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := AppendFrame(nil, test.first, test.payload, test.key)
			if !bytes.Equal(got, test.want) {
				t.Fatalf("AppendFrame = % x, want % x", got, test.want)
			}
			if n := HeaderLen(len(test.payload), test.key != nil) + len(test.payload); n != len(got) {
				t.Errorf("HeaderLen and payload make %d bytes, the frame has %d", n, len(got))
			}
			for cut := range min(len(got), 300) {
				if _, _, whole := TakeFrame(got[:cut]); whole {
					t.Fatalf("TakeFrame takes %d of %d bytes for a frame", cut, len(got))
				}
			}
			f, rest, whole := TakeFrame(append(got, 'x'))
			if !whole || f.First != test.first || !bytes.Equal(f.Payload, test.payload) || string(rest) != "x" {
				t.Errorf("TakeFrame does not return what AppendFrame was given")
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	for _, request := range []string{
		string(Request("http", "example.com", false)),
		"GET / HTTP/1.1\r\nSEC-WEBSOCKET-KEY:" + key + "\r\n\r\n",
	} {
		response, err := Response([]byte(request))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckResponse(response); err != nil {
			t.Errorf("%v: %q", err, response)
		}
	}
}

func TestCheckResponseRefuses(t *testing.T) {
	good := string(Switching(key))
	for name, bad := range map[string]string{
		"status": strings.Replace(good, "101", "403", 1),
		"accept": strings.Replace(good, accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOx=", 1),
		"cut":    strings.TrimSuffix(good, "\r\n"),
	} {
		if CheckResponse([]byte(bad)) == nil {
			t.Errorf("%s: CheckResponse accepts %q", name, bad)
		}
	}
}
