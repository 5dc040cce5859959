package servers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/NYTimes/gziphandler"
	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fullduplex-go/websocket"
)

// A sink keeps what is logged.
type sink struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// echoMessages sends every message back.
func echoMessages(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// waysIn are the handlers that echo.
var waysIn = map[string]http.Handler{
	"HandlerFunc": websocket.HandlerFunc(nil, echoMessages),
	"Accept": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		echoMessages(c)
	}),
}

// A behind is middleware around a handler. It writes the status that it records
// to out.
type behind func(h http.Handler, out io.Writer) http.Handler

// echoAccessLog returns the access log of echo.
func echoAccessLog(out io.Writer) echo.MiddlewareFunc {
	return echomiddleware.RequestLoggerWithConfig(echomiddleware.RequestLoggerConfig{
		LogStatus: true,
		LogValuesFunc: func(_ echo.Context, v echomiddleware.RequestLoggerValues) error {
			fmt.Fprintln(out, "status", v.Status)
			return nil
		},
	})
}

// behinds are those of others, and what they record.
var behinds = map[string]struct {
	wrap    behind
	records string // what out has then
	cookie  bool   // a session's cookie arrives
	late    bool   // it tells net/http of the status once more, too late, which net/http logs
}{
	"chi, access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: log.New(out, "", 0), NoColor: true}))
		r.Handle("/", h)
		return r
	}, records: " - 101 "},
	"chi, access log and compression": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: log.New(out, "", 0), NoColor: true}))
		r.Use(chimiddleware.Compress(5))
		r.Handle("/", h)
		return r
	}, records: " - 101 "},
	"gin, access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(gin.LoggerWithWriter(out))
		r.GET("/", gin.WrapH(h))
		return r
	}, records: " 101 "},
	"echo, access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		e := echo.New()
		e.Use(echoAccessLog(out))
		e.GET("/", echo.WrapHandler(h))
		return e
	}, records: "status 101\n"},
	"echo, access log and compression": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		e := echo.New()
		e.Use(echoAccessLog(out))
		e.Use(echomiddleware.Gzip())
		e.GET("/", echo.WrapHandler(h))
		return e
	}, records: "status 101\n", late: true},
	"gorilla/handlers, access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		return handlers.CombinedLoggingHandler(out, h)
	}, records: `HTTP/1.1" 101 `},
	"gorilla/handlers, access log and compression": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		return handlers.CombinedLoggingHandler(out, handlers.CompressHandler(h))
	}, records: `HTTP/1.1" 101 `},
	"negroni, access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		logger := negroni.NewLogger()
		logger.ALogger = log.New(out, "", 0)
		logger.SetFormat("status {{.Status}}")
		n := negroni.New(logger)
		n.UseHandler(h)
		return n
	}, records: "status 101\n"},
	"otelhttp": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		h = otelhttp.NewHandler(h, "echo", otelhttp.WithTracerProvider(provider))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			for _, span := range spans.Ended() {
				for _, a := range span.Attributes() {
					io.WriteString(out, string(a.Key)+" "+a.Value.String()+"\n")
				}
			}
		})
	}, records: "http.response.status_code 101\n"},
	"promhttp": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, []string{"code"})
		h = promhttp.InstrumentHandlerCounter(requests, h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if testutil.ToFloat64(requests.WithLabelValues("101")) == 1 {
				io.WriteString(out, "one 101")
			}
		})
	}, records: "one 101"},
	"scs in an access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		sessions := scs.New()
		return handlers.CombinedLoggingHandler(out, sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sessions.Put(r.Context(), "user", "Ali")
			h.ServeHTTP(w, r)
		})))
	}, records: `HTTP/1.1" 101 `, cookie: true},
	"scs in gzhttp in an access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		sessions := scs.New()
		return handlers.CombinedLoggingHandler(out, gzhttp.GzipHandler(sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sessions.Put(r.Context(), "user", "Ali")
			h.ServeHTTP(w, r)
		}))))
	}, records: `HTTP/1.1" 101 `, cookie: true},
	"gziphandler in an access log": {wrap: func(h http.Handler, out io.Writer) http.Handler {
		return handlers.CombinedLoggingHandler(out, gziphandler.GzipHandler(h))
	}, records: `HTTP/1.1" 101 `, late: true},
}

// TestMiddleware opens a connection behind middleware of all kinds, as a browser
// does that would take compressed answers: messages flow, the status is
// recorded, and a session's cookie arrives.
func TestMiddleware(t *testing.T) {
	for name, b := range behinds {
		for way, h := range waysIn {
			t.Run(name+"/"+way, func(t *testing.T) {
				var recorded, errorLog sink
				s := httptest.NewUnstartedServer(b.wrap(h, &recorded))
				s.Config.ErrorLog = log.New(&errorLog, "", 0)
				s.Start()
				defer s.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				c, response, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{Header: http.Header{"Accept-Encoding": {"gzip"}}})
				require.NoError(t, err)
				defer c.CloseNow()
				for _, text := range []string{"one", "two"} {
					require.NoError(t, c.WriteString(ctx, text))
					_, p, err := c.Read(ctx)
					require.NoError(t, err)
					require.Equal(t, text, string(p))
				}
				require.NoError(t, c.Close(websocket.CloseNormal, ""))
				require.Equal(t, b.cookie, strings.HasPrefix(response.Header.Get("Set-Cookie"), "session="))
				eventually(t, b.records, func() bool { return strings.Contains(recorded.String(), b.records) }, recorded.String)
				s.Close() // waits for handlers that still run
				require.Equal(t, b.late, errorLog.String() != "", errorLog.String())
			})
		}
	}
}

// eventually waits until something has happened.
func eventually(t *testing.T, what string, happened func() bool, say func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %q; there is %q", what, say())
		}
	}
}
