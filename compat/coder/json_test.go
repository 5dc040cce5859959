package websocket_test

import (
	websocket "github.com/fullduplex-go/websocket/compat/coder"
	"github.com/fullduplex-go/websocket/compat/coder/wsjson"
)

func init() { websocket.SetJSON(wsjson.Read, wsjson.Write) }
