module github.com/fullduplex-go/websocket/internal/nettest

go 1.26.0

require github.com/fullduplex-go/websocket v0.0.0

require golang.org/x/net v0.60.0

require (
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/fullduplex-go/websocket => ../..
