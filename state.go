package websocket

// A role is the side of the connection an endpoint is on. It decides which
// direction is masked (RFC 6455, Section 5.1).
type role uint8

const (
	client role = iota
	server
)
