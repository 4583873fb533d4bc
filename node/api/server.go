package api

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the socket.
const (
	// MaxRequest is the most bytes of a request: a notice of the largest size
	// three times over, as its letters may be written as \u escapes.
	MaxRequest = 192 << 10
	// MaxCommands is how many commands run at once, MaxWatches how many watch.
	MaxCommands = 16
	MaxWatches  = 4

	maxHeader     = 8 << 10
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	closeTimeout  = 5 * time.Second
)

// Server answers commands on the socket of one profile.
type Server struct {
	// Report, if not nil, is told of faults whose words a client does not get.
	// It is called from several goroutines, and must not be changed after Serve.
	Report func(error)

	patience time.Duration // readTimeout, shorter in tests
	socket   *socket
	closed   sync.Once
	fault    error
}

// Listen puts the control socket of a profile in its place. The caller holds
// the lock of the profile, so that a socket that is there is a stale one. Close
// it, or let Serve do so.
func Listen(profile string) (*Server, error) {
	path, err := SocketPath(profile)
	if err != nil {
		return nil, err
	}
	s, err := listen(path)
	if err != nil {
		return nil, err
	}
	return &Server{socket: s, patience: readTimeout}, nil
}

// Path returns the path of the socket.
func (s *Server) Path() string { return s.socket.path }

// Close takes the socket away. Serve does so when it ends.
func (s *Server) Close() error {
	s.closed.Do(func() { s.fault = s.socket.Close() })
	return s.fault
}

// Serve answers until ctx ends, then lets what runs end, for a few seconds at
// most, takes the socket away and returns nil. The backend's contexts end with
// ctx. Call it once.
func (s *Server) Serve(ctx context.Context, b Backend) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	h := newHandler(running, b, s.report)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       s.patience,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // it would repeat what clients sent
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener{s}) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
		err = <-ended
	}
	stop()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

func (s *Server) report(err error) {
	if s.Report != nil {
		s.Report(err)
	}
}

// listener closes the socket by Server.Close, which may be called twice.
type listener struct{ s *Server }

func (l listener) Accept() (net.Conn, error) { return l.s.socket.Accept() }
func (l listener) Close() error              { return l.s.Close() }
func (l listener) Addr() net.Addr            { return l.s.socket.Addr() }
