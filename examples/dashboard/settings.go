package main

// What pages may ask for. A message begins with the time at which it was due.
const (
	maxRate = 100_000 // messages per second
	minSize = 16      // bytes of a message
	maxSize = 16 << 10
)

// settings are what the sliders say. The zero value is no load.
type settings struct {
	Conns    int  `json:"conns"`
	Rate     int  `json:"rate"` // messages per second, on all connections together
	Size     int  `json:"size"` // bytes of a message
	Compress bool `json:"compress"`
	Parked   bool `json:"parked"`
	Resets   int  `json:"resets"` // how often latencies were forgotten: those of messages due before no longer count
}

// bounds are what settings may be.
type bounds struct {
	MaxConns int `json:"maxConns"`
	MaxRate  int `json:"maxRate"`
	MinSize  int `json:"minSize"`
	MaxSize  int `json:"maxSize"`
}

// clamp returns the settings within b that are nearest to s.
func (b bounds) clamp(s settings) settings {
	s.Conns = min(max(s.Conns, 0), b.MaxConns)
	s.Rate = min(max(s.Rate, 0), b.MaxRate)
	s.Size = min(max(s.Size, b.MinSize), b.MaxSize)
	return s
}

// A change is what a page sends: the sliders that were moved.
type change struct {
	Conns    *int  `json:"conns"`
	Rate     *int  `json:"rate"`
	Size     *int  `json:"size"`
	Compress *bool `json:"compress"`
	Parked   *bool `json:"parked"`
	Reset    bool  `json:"reset"` // forget the latencies
	Seq      int   `json:"seq"`   // the page's number for the change
}

// applied returns s with the change.
func (ch change) applied(s settings) settings {
	set(&s.Conns, ch.Conns)
	set(&s.Rate, ch.Rate)
	set(&s.Size, ch.Size)
	set(&s.Compress, ch.Compress)
	set(&s.Parked, ch.Parked)
	return s
}

// set stores *v in *to if there is one.
func set[T any](to, v *T) {
	if v != nil {
		*to = *v
	}
}

// A choice is the settings in force and who made the last change. Its page
// recognizes the change by its number.
type choice struct {
	settings
	By  int `json:"by"`
	Seq int `json:"seq"`
}
