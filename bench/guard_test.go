//go:build linux

package bench

import (
	"os"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/bench/measure"
	"github.com/fullduplex-go/websocket/bench/peer"
)

func TestMain(m *testing.M) {
	measure.Main()
	os.Exit(m.Run())
}

// places holds, for some rows, the highest allowed cost of the library relative
// to the best other library. The limits are far above what compare measures, so
// that only a real regression is found, even on a busy machine.
var places = map[string]float64{
	"128 B × 1":      1.4,
	"128 B × 16":     0.4,
	"1 KiB × 16":     0.5,
	"16 KiB × 16":    0.9,
	"TLS 128 B × 16": 0.6,
	"idle net/http":  0.95,
	"idle net.Conn":  0.95,
}

// TestPlaces measures the rows of places. A ratio that is too high counts only
// if it is too high again in a second measurement.
func TestPlaces(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a minute")
	}
	const attempts = 3
	for _, row := range measure.Rows {
		bar, listed := places[row.Name]
		if !listed {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			row.Conns = min(row.Conns, 2000)
			for attempt := 1; ; attempt++ {
				ratio, best := ratioToBest(t, row)
				t.Logf("%.2f of %s", ratio, best)
				if ratio <= bar {
					return
				}
				if attempt == attempts {
					t.Fatalf("costs %.2f of %s, want at most %.2f", ratio, best, bar)
				}
			}
		})
	}
}

// ratioToBest measures ours next to the others.
func ratioToBest(t *testing.T, row measure.Row) (ratio float64, best string) {
	t.Helper()
	plan := measure.Plan{Rounds: 3, Warm: 50 * time.Millisecond, Measured: 200 * time.Millisecond}
	if row.Kind == measure.Idle {
		plan.Rounds = 1
	}
	lines, err := measure.Compare(t.Context(), []measure.Row{row}, peer.All(), plan, func(measure.Row, peer.Peer, measure.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	best = lines[0].Best()
	ratio, ok := lines[0].Ratio(best)
	if !ok {
		t.Fatal("the library or its best peer was not measured")
	}
	return ratio, best
}
