package websocket

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// A keySource hands out masking keys from blocks of strong random bytes: no key
// can be predicted from those before it (RFC 6455, Section 5.3).
type keySource struct {
	unread []byte // a part of block
	block  [1024]byte
}

// keySources are the sources not in use.
var keySources = sync.Pool{New: func() any { return new(keySource) }}

// newKey returns a fresh masking key, or an error if there are no random bytes.
func newKey() (uint32, error) {
	s := keySources.Get().(*keySource)
	defer keySources.Put(s)
	return s.next(rand.Reader)
}

// next returns the next key. It reads another block from entropy when the last
// one is used up.
func (s *keySource) next(entropy io.Reader) (uint32, error) {
	if len(s.unread) < 4 {
		if _, err := io.ReadFull(entropy, s.block[:]); err != nil {
			return 0, fmt.Errorf("websocket: no random bytes for a masking key: %w", err)
		}
		s.unread = s.block[:]
	}
	key := binary.LittleEndian.Uint32(s.unread)
	s.unread = s.unread[4:]
	return key, nil
}
