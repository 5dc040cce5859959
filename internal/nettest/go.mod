module github.com/fullduplex-go/websocket/internal/nettest

go 1.25

require github.com/fullduplex-go/websocket v0.0.0

require golang.org/x/net v0.50.0

replace github.com/fullduplex-go/websocket => ../..
