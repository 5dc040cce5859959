package websocket

import "context"

// SetJSON gives tests of this package the functions of package wsjson, which
// imports it.
func SetJSON(read, write func(ctx context.Context, c *Conn, v any) error) {
	readJSON, writeJSON = read, write
}
