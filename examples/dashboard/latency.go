package main

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newTimes returns an empty histogram of microseconds: from one to a minute, each
// to a hundredth.
func newTimes() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 2)
}

// A latency is a histogram as the page draws it. Times are in milliseconds.
type latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	Bars  []int64 `json:"bars"` // bar i counts from 10^(i/barsPerDecade) µs on
}

// barsPerDecade is how many bars lie between a time and its tenfold.
const barsPerDecade = 10

// latency returns the latencies since the last reset.
func (l *load) latency() *latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := func(percentile float64) float64 { return float64(l.times.ValueAtPercentile(percentile)) / 1000 }
	lat := &latency{
		Count: l.times.TotalCount(),
		P50:   at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100),
		Bars: []int64{},
	}
	for _, b := range l.times.Distribution() {
		if b.Count > 0 {
			lat.count(b)
		}
	}
	return lat
}

// count adds a bar of the histogram to the bar in which its middle lies.
func (lat *latency) count(b hdrhistogram.Bar) {
	middle := max(float64(b.From+b.To)/2, 1)
	i := int(math.Log10(middle) * barsPerDecade)
	for len(lat.Bars) <= i {
		lat.Bars = append(lat.Bars, 0)
	}
	lat.Bars[i] += b.Count
}
