package reference

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
)

// An inflater inflates messages with compress/flate.
type inflater struct {
	noContext bool
	window    []byte
	r         io.ReadCloser
}

// inflate returns the message whose payload is p.
func (f *inflater) inflate(p []byte, forget bool) ([]byte, error) {
	if f.noContext || forget {
		f.window = nil
	}
	// The removed tail, and a final block so that the reader ends.
	in := io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if f.r == nil {
		f.r = flate.NewReaderDict(in, f.window)
	} else {
		f.r.(flate.Resetter).Reset(in, f.window)
	}
	message, err := io.ReadAll(f.r)
	if err != nil {
		return nil, err
	}
	f.window = append(f.window, message...)
	if excess := len(f.window) - 1<<15; excess > 0 {
		f.window = append([]byte{}, f.window[excess:]...)
	}
	return message, nil
}
