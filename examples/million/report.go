package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes what was measured, and what a million connections would take.
func (r result) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "connections\theap and stacks\tresident\tgoroutines\tkernel\taccepted per second\t")
	for _, s := range r.steps {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%.0f\t\n", s.Conns, size(s.Live), size(s.Resident), s.Goroutines, size(s.Kernel), s.rate)
	}
	w.Flush()
	fmt.Fprintf(out, "\nSilent for %v: %.2f %% of a core, with the Pings.\n\n", r.duration, 100*r.cpu.Seconds()/r.duration.Seconds())
	fmt.Fprintln(out, "A million connections, by the line that fits best:")
	r.printFit(out, "heap and stacks", func(s step) int64 { return s.Live })
	r.printFit(out, "resident", func(s step) int64 { return s.Resident })
	r.printFit(out, "kernel", func(s step) int64 { return s.Kernel })
	fmt.Fprintf(out, "\nKernel is %s, for the whole machine: both ends of each connection.\n", kernelSource)
}

// printFit writes what a million connections would take of one thing.
func (r result) printFit(out io.Writer, name string, of func(step) int64) {
	fixed, each := r.fit(of)
	fmt.Fprintf(out, "  %-16s %10s = %s and %.0f B each\n", name, size(int64(fixed+1e6*each)), size(int64(fixed)), each)
}

// fit returns the fixed part and the part of each connection of what the steps
// take: the line with the least squares.
func (r result) fit(of func(step) int64) (fixed, each float64) {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, s := range r.steps {
		x, y := float64(s.Conns), float64(of(s))
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	each = (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return (sumY - each*sumX) / n, each
}

// size returns a number of bytes in short form.
func size(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
