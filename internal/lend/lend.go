// Package lend is the door through which the module's own packages look at a
// received message where it lies.
package lend

import "context"

// Message waits for the next message of conn, a *websocket.Conn, and calls use
// with it. kind is the opcode. p is valid until use returns, and no other
// message is read meanwhile; use must not read. Message returns the error of
// the connection or that of use. Package websocket sets it.
var Message func(ctx context.Context, conn any, use func(kind byte, p []byte) error) error
