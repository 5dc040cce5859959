module github.com/fullduplex-go/websocket/examples/wscat

go 1.26.0

require (
	github.com/creack/pty v1.1.24
	github.com/fullduplex-go/websocket v0.1.0
	golang.org/x/mod v0.43.0
	golang.org/x/sys v0.50.0
	golang.org/x/term v0.48.0
)
