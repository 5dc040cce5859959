//go:build !unix

package websocket

// processorTime returns 0: it is not known here.
func processorTime() int64 { return 0 }
