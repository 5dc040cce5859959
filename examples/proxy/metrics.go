package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fullduplex-go/websocket"
)

// metrics are what /metrics tells. The values of labels are a bounded number,
// whatever peers send.
type metrics struct {
	registry      *prometheus.Registry
	open          prometheus.Gauge
	handshakes    *prometheus.CounterVec // by status
	seconds       prometheus.Histogram   // of a handshake
	messages      *prometheus.CounterVec // by direction
	bytes         *prometheus.CounterVec // by direction
	ends          *prometheus.CounterVec // by side and code
	backendErrors *prometheus.CounterVec // by backend and kind
}

// newMetrics returns metrics that are all zero.
func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "proxy_" + name, Help: help}, labels)
	}
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		open:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "proxy_connections", Help: "Connections that are open."}),
		handshakes:    counter("handshakes_total", "Opening handshakes, by the HTTP status that answered them.", "status"),
		seconds:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "proxy_handshake_seconds", Help: "Duration of opening handshakes, the server's included.", Buckets: prometheus.DefBuckets}),
		messages:      counter("messages_total", "Messages passed on to their end, by where they came from.", "from"),
		bytes:         counter("message_bytes_total", "Payload of messages passed on, in bytes, by where they came from.", "from"),
		ends:          counter("ends_total", "Ended connections, by side and close code.", "side", "code"),
		backendErrors: counter("backend_errors_total", "Handshakes that a server did not answer as it should, by server and kind.", "backend", "kind"),
	}
	m.registry.MustRegister(m.open, m.handshakes, m.seconds, m.messages, m.bytes, m.ends, m.backendErrors)
	return m
}

// handler returns the handler of /metrics.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// answered counts a handshake that was answered with status.
func (m *metrics) answered(status int, took time.Duration) {
	m.handshakes.WithLabelValues(statusLabel(status)).Inc()
	m.seconds.Observe(took.Seconds())
}

// failed counts a handshake with b that led to refusal, unless that is the
// server's own or it is not to blame.
func (m *metrics) failed(b *backend, refusal *websocket.HandshakeError) {
	if refusal.Err == nil {
		return
	}
	switch refusal.Status {
	case http.StatusBadGateway:
		m.backendErrors.WithLabelValues(b.url.Host, "unusable").Inc()
	case http.StatusGatewayTimeout:
		m.backendErrors.WithLabelValues(b.url.Host, "timeout").Inc()
	}
}

// ended counts the end of one side.
func (m *metrics) ended(s *side) { m.ends.WithLabelValues(s.name, codeLabel(s.end.Code)).Inc() }

// statusLabel returns the label of an HTTP status, of which a server may invent
// any.
func statusLabel(status int) string {
	if http.StatusText(status) == "" && status != statusClientGone {
		return "other"
	}
	return strconv.Itoa(status)
}

// codeLabel returns the label of a close code: one for each that RFC 6455 and
// the IANA registry define, and one for each of the ranges that are free (RFC
// 6455, Section 7.4.2).
func codeLabel(code websocket.CloseCode) string {
	switch {
	case code >= 1000 && code <= 1015:
		return strconv.Itoa(int(code))
	case code >= 3000 && code <= 3999:
		return "3xxx"
	case code >= 4000 && code <= 4999:
		return "4xxx"
	default:
		return "other"
	}
}
