package websocket

import (
	"slices"
	"sync"

	fullduplex "github.com/fullduplex-go/websocket"
)

// A PreparedMessage is a message made ready once, to be sent to many
// connections. It is compressed once for all that agreed on the same, and may
// be sent by several goroutines at the same time.
type PreparedMessage struct {
	messageType int
	data        []byte

	packed, plain preparedForm // of a data message
}

// A preparedForm is a data message for connections that agreed on compression,
// and compress it or not. It is made for the first one.
type preparedForm struct {
	once     sync.Once
	prepared *fullduplex.Prepared
}

// NewPreparedMessage makes a copy of data ready to be sent as a message of any
// type.
func NewPreparedMessage(messageType int, data []byte) (*PreparedMessage, error) {
	switch {
	case !isData(messageType) && !isControl(messageType):
		return nil, errBadMessageType
	case isControl(messageType) && len(data) > maxControlPayload:
		return nil, errInvalidControlFrame
	}
	return &PreparedMessage{messageType: messageType, data: slices.Clone(data)}, nil
}

// WritePreparedMessage sends a message that was made ready.
func (c *Conn) WritePreparedMessage(pm *PreparedMessage) error {
	if err := c.beginWrite(); err != nil {
		return err
	}
	switch {
	case isControl(pm.messageType):
		return c.writeControlMessage(pm.messageType, pm.data)
	case !c.ws.CompressionAgreed():
		return c.endWrite(c.ws.Write(background, fullduplex.MessageType(pm.messageType), pm.data))
	default:
		return c.endWrite(c.ws.WritePrepared(background, pm.form(c.write.isPlain())))
	}
}

// form returns the message for connections that agreed on compression, to be
// compressed or plain.
func (pm *PreparedMessage) form(plain bool) *fullduplex.Prepared {
	f, prepare := &pm.packed, fullduplex.Prepare
	if plain {
		f, prepare = &pm.plain, fullduplex.PreparePlain
	}
	f.once.Do(func() { f.prepared = prepare(fullduplex.MessageType(pm.messageType), pm.data) })
	return f.prepared
}
