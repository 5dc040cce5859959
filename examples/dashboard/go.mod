module github.com/fullduplex-go/websocket/examples/dashboard

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/fullduplex-go/websocket v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sync v0.25.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/fullduplex-go/websocket => ../..
