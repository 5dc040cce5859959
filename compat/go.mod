module github.com/fullduplex-go/websocket/compat

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/fullduplex-go/websocket v0.0.0
	github.com/gorilla/websocket v1.5.3
	github.com/stretchr/testify v1.12.1
)

replace github.com/fullduplex-go/websocket => ../

require go.yaml.in/yaml/v3 v3.0.5 // indirect
