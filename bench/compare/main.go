//go:build linux

package main

import "github.com/fullduplex-go/websocket/bench/measure"
import "github.com/fullduplex-go/websocket/bench/peer"
import "context"
import "fmt"
import "time"

func main() {
	measure.Main()
	_, err := measure.Compare(context.Background(), measure.Rows[16:], peer.All(), measure.Plan{Rounds: 1, Warm: 200*time.Millisecond, Measured: 300*time.Millisecond}, func(r measure.Row, p peer.Peer, x measure.Result) {
		fmt.Println(r.Name, p.Name(), x.Cost(), x.Memory, x.P50, x.P99, x.PerSecond(), x.LoadCPU, x.SubjectCPU, x.Wall)
	})
	fmt.Println(err)
}
