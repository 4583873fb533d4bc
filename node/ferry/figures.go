package ferry

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/palabre-app/palabre/protocol/ferry"
)

// ErrFigures says that figures may be shown at an address of this machine alone.
var ErrFigures = errors.New("ferry: figures are shown at a loopback address alone")

// checkFigures takes an IP address of this machine and a port, such as 127.0.0.1:9464.
func checkFigures(addr string) error {
	if a, err := netip.ParseAddrPort(addr); err != nil || !a.Addr().Unmap().IsLoopback() {
		return ErrFigures
	}
	return nil
}

// figures is the page with the figures of a server (spec 75 section 9).
type figures struct {
	addr string
	http *http.Server
	done chan error // what Serve returned
}

// showFigures begins to answer.
func showFigures(addr string, s *Server) (*figures, error) {
	all := prometheus.NewRegistry()
	if err := all.Register(counted{s}); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	page := promhttp.HandlerFor(all, promhttp.HandlerOpts{DisableCompression: true, MaxRequestsInFlight: 4})
	f := &figures{addr: l.Addr().String(), done: make(chan error, 1), http: &http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveFigures(page, w, r) }),
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // it would print addresses
	}}
	go func() { f.done <- f.http.Serve(l) }()
	return f, nil
}

// serveFigures answers GET /metrics, if it is asked of this machine by its number: a
// web page could give it a name of its own.
func serveFigures(page http.Handler, w http.ResponseWriter, r *http.Request) {
	switch {
	case !local(r.Host):
		http.Error(w, "ask by the number of the address", http.StatusForbidden)
	case r.URL.Path != "/metrics":
		http.NotFound(w, r)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
	default:
		page.ServeHTTP(w, r)
	}
}

func local(host string) bool {
	name := strings.Trim(host, "[]")
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	a, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func (f *figures) close() error {
	err := f.http.Close()
	<-f.done
	return err
}

// counted gives Counts to whoever collects.
type counted struct{ s *Server }

var (
	figureOpen     = figure("sessions_open", "Sessions that are open now.")
	figureBegun    = figure("sessions_begun_total", "Sessions that were begun.")
	figureBusy     = figure("sessions_refused_total", "Sessions that were refused for want of room.")
	figureKept     = figure("envelopes_kept_total", "Envelopes that were taken in, without those that were held before.")
	figureRefused  = figure("envelopes_refused_total", "Envelopes that were not taken in.", "reason")
	figureGiven    = figure("envelopes_given_total", "Envelopes that were given to those who can read them.")
	figureHeld     = figure("held_bytes", "Bytes of all envelopes that are held.")
	figureReserved = figure("places_open", "Phones that can be reached through this machine now.")
	figureCircuits = figure("circuits_open", "Connections between two phones that go through this machine now.")
	figureCalls    = figure("circuits_begun_total", "Connections between two phones that were made.")
	figureNoCall   = figure("circuits_refused_total", "Places and connections that were asked for and not given.")
	figurePassed   = figure("circuits_bytes_total", "Bytes that went from one phone to another.")
	figureFailures = figure("store_failures_total", "Failures of the disk; the first one ends the program.")
)

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("palabre_ferry_"+name, help, labels, nil)
}

// reasons are the values of the only label.
var reasons = map[ferry.Outcome]string{
	ferry.MailboxFull: "mailbox_full", ferry.ShareUsedUp: "share_used_up", ferry.FerryFull: "carrier_full", ferry.NoTicket: "no_ticket",
}

func (c counted) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

func (c counted) Collect(to chan<- prometheus.Metric) {
	n := c.s.Counts()
	say := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	say(figureOpen, prometheus.GaugeValue, float64(n.Sessions))
	say(figureBegun, prometheus.CounterValue, float64(n.Begun))
	say(figureBusy, prometheus.CounterValue, float64(n.Busy))
	say(figureKept, prometheus.CounterValue, float64(n.Kept))
	for outcome, reason := range reasons {
		say(figureRefused, prometheus.CounterValue, float64(n.Refused[outcome]), reason)
	}
	say(figureGiven, prometheus.CounterValue, float64(n.Given))
	say(figureHeld, prometheus.GaugeValue, float64(n.Held))
	say(figureReserved, prometheus.GaugeValue, float64(n.Circuits.Reserved))
	say(figureCircuits, prometheus.GaugeValue, float64(n.Circuits.Open))
	say(figureCalls, prometheus.CounterValue, float64(n.Circuits.Begun))
	say(figureNoCall, prometheus.CounterValue, float64(n.Circuits.Refused))
	say(figurePassed, prometheus.CounterValue, float64(n.Circuits.Bytes))
	say(figureFailures, prometheus.CounterValue, float64(n.Failures))
}
