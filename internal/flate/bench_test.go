package flate

import (
	"fmt"
	"testing"
)

// reportOn runs a contender over a corpus until the benchmark is satisfied.
func reportOn(b *testing.B, c corpus, run contender) {
	b.ReportAllocs()
	size := 0
	for _, m := range c.messages {
		size += len(m)
	}
	b.SetBytes(int64(size / len(c.messages)))
	for n := 0; n < b.N; n += len(c.messages) {
		run()
	}
}

func BenchmarkDeflate(b *testing.B) {
	all := append(smallCorpora(400), largeJSON(4), largeText(), randomBytes(100, 1024))
	for _, c := range all {
		for _, context := range []Context{NoTakeover, Takeover} {
			for _, level := range []int{1, 4, 6} {
				name := fmt.Sprintf("%s/context=%d/level=%d", c.name, context, level)
				b.Run(name+"/ours", func(b *testing.B) { reportOn(b, c, ourDeflate(c, 12+3*b2i(context == NoTakeover), level, context)) })
				b.Run(name+"/std", func(b *testing.B) { reportOn(b, c, theirDeflate(c, level, context)) })
			}
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	all := append(smallCorpora(400), largeJSON(4), largeText(), randomBytes(100, 1024))
	for _, c := range all {
		for _, context := range []Context{NoTakeover, Takeover} {
			name := fmt.Sprintf("%s/context=%d", c.name, context)
			in := payloads(c, context)
			b.Run(name+"/ours", func(b *testing.B) { reportOn(b, c, ourInflate(in, context)) })
			b.Run(name+"/std", func(b *testing.B) { reportOn(b, c, theirInflate(c, in, context)) })
		}
	}
}
