module github.com/fullduplex-go/websocket/internal/stress

go 1.26.0

require (
	github.com/fullduplex-go/websocket v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/net v0.60.0
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/fullduplex-go/websocket => ../..
