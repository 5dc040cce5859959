module github.com/fullduplex-go/websocket/autobahn/http2

go 1.26.0

require (
	github.com/fullduplex-go/websocket v0.0.0
	golang.org/x/net v0.60.0
)

require golang.org/x/text v0.42.0 // indirect

replace github.com/fullduplex-go/websocket => ../..
