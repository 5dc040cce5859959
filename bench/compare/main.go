//go:build linux

package main

import "github.com/fullduplex-go/websocket/bench/measure"
import "github.com/fullduplex-go/websocket/bench/peer"
import "context"
import "fmt"
import "time"

func main() {
	measure.Main()
	fmt.Println(measure.Compare(context.Background(), measure.Rows[:2], peer.All(), measure.Plan{Rounds: 1, Warm: 200*time.Millisecond, Measured: time.Second}, func(r measure.Row, p peer.Peer, x measure.Result) {
		fmt.Println(r.Name, p.Name(), x.Cost(), x.P50, x.P99, x.PerSecond(), x.LoadCPU, x.SubjectCPU, x.Wall)
	}))
}
