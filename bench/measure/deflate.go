//go:build linux

package measure

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// syncFlush ends what a compressor writes for a message, and is not sent
// (RFC 7692, Section 7.2.1).
var syncFlush = []byte{0, 0, 0xff, 0xff}

// newDeflated returns one compressed text of size bytes.
func newDeflated(size int) (*batch, error) {
	var text, compressed bytes.Buffer
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, `{"id":%d,"name":"full duplex","square":%d},`, i, i*i)
	}
	payload := text.Bytes()[:size]
	w, err := flate.NewWriter(&compressed, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(payload); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	sent := bytes.TrimSuffix(compressed.Bytes(), syncFlush)
	return &batch{
		request:  wire.AppendFrame(nil, wire.FIN|wire.RSV1|wire.Text, sent, []byte{0x37, 0xfa, 0x21, 0x3d}),
		reply:    payload,
		messages: 1, size: size, deflated: true,
	}, nil
}

// receiveDeflated reads a compressed text from l and compares it to want.
func receiveDeflated(l *link, want []byte) error {
	compressed, err := receiveText(l)
	if err != nil {
		return err
	}
	// An empty last block tells the end.
	r := flate.NewReader(io.MultiReader(bytes.NewReader(compressed), bytes.NewReader(append(syncFlush, 1, 0, 0, 0xff, 0xff))))
	got, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errEcho
	}
	return nil
}

// receiveText reads the frames of a compressed text, which may be fragmented
// (RFC 7692, Section 6.1), and returns their payloads.
func receiveText(l *link) (payload []byte, err error) {
	var received []byte
	first, buf := wire.RSV1|wire.Text, make([]byte, 16<<10)
	for {
		f, rest, whole := wire.TakeFrame(received)
		switch {
		case !whole:
			n, err := l.stream.Read(buf)
			if err != nil {
				return nil, err
			}
			received = append(received, buf[:n]...)
			continue
		case f.First&^wire.FIN != first:
			return nil, errEcho
		}
		payload, received, first = append(payload, f.Payload...), rest, wire.Continuation
		if f.First&wire.FIN != 0 {
			return payload, nil
		}
	}
}
