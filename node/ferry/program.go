package ferry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// ErrListen says that an address cannot be listened at.
var ErrListen = errors.New("ferry: cannot listen at an address")

// Config is all that a ferry is told.
type Config struct {
	// Dir is the folder of the store and of the key file.
	Dir string
	// Listen holds the addresses at which Serve listens, such as /ip4/0.0.0.0/tcp/4001
	// and /ip4/0.0.0.0/udp/4001/quic-v1; port 0 is any. With a certificate also such as
	// /dns4/letters.example.org/tcp/443/tls/ws (spec 63).
	Listen []string
	// Certificate and Key are PEM files for the addresses with tls and ws: the
	// certificate with those that vouch for it, and its private key. Both or none.
	Certificate, Key string
	// Total is how many bytes of envelopes are held at most; 0 is the 10 GiB of spec
	// 75 section 2.
	Total int64
	// Closed: only holders of a ticket are served.
	Closed bool
	// Figures is an address of this machine and a port, such as 127.0.0.1:9464, at
	// which Serve shows figures; empty: nowhere.
	Figures string
}

// Ferry is the program of a ferry (spec 75 section 9): its store, opened by nobody
// else.
type Ferry struct {
	cfg    Config
	cert   *tls.Certificate // nil: none
	limits rules.Limits
	keys   keys
	id     []byte // peer id of keys.seed
	db     *store.DB
	store  *Store

	now   func() time.Time
	hours <-chan time.Time // when to drop what is over; nil: every hour
	shown string           // where figures are
}

// ErrCertificate says that the files of a certificate cannot be used, or that they and
// the addresses do not go together.
var ErrCertificate = errors.New("ferry: no usable certificate")

// Open opens the store of a ferry, which nobody else has open. With create, folder, key
// file and store are made if there are none. Errors: ErrListen and ErrFigures for an
// address that is none, ErrCertificate, ErrMissing, ErrKey, those of store.Open, or the file system's.
// After an error nothing has changed, but that a folder may have its keys already.
func Open(cfg Config, create bool) (*Ferry, error) {
	for _, a := range cfg.Listen {
		if err := p2p.CheckListen(a); err != nil {
			return nil, errListen(err)
		}
	}
	cert, err := certificate(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Figures != "" {
		if err := checkFigures(cfg.Figures); err != nil {
			return nil, err
		}
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	f := &Ferry{cfg: cfg, cert: cert, limits: rules.DefaultLimits(), now: time.Now}
	f.limits.Closed = cfg.Closed
	if cfg.Total != 0 {
		f.limits.Total = cfg.Total
	}
	if f.keys, err = loadKeys(cfg.Dir, create); err != nil {
		return nil, err
	}
	if f.id, err = p2p.FerryID(f.keys.seed); err != nil {
		return nil, err
	}
	if f.db, err = store.Open(cfg.Dir, f.keys.store); err != nil {
		return nil, err
	}
	if f.store, err = OpenStore(f.db); err != nil {
		return nil, errors.Join(err, f.db.Close())
	}
	return f, nil
}

// certificate reads the files of a certificate. It is there exactly if an address is of
// the web road.
func certificate(cfg Config) (*tls.Certificate, error) {
	if !slices.ContainsFunc(cfg.Listen, p2p.WebAddr) {
		if cfg.Certificate != "" || cfg.Key != "" {
			return nil, ErrCertificate
		}
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, ErrCertificate // what is in the file is not for messages
	}
	return &cert, nil
}

func errListen(err error) error { return fmt.Errorf("%w: %w", ErrListen, err) }

// Close closes the store. It is called once, when Serve has returned.
func (f *Ferry) Close() error { return f.db.Close() }

// Serve serves until ctx ends, or until the store fails, which is its error. Ready is
// called once, with the addresses at which the ferry can be reached. What a client
// does ends its session at most, and nothing is said of it. All sessions are over
// when it returns. Errors besides: ErrListen.
func (f *Ferry) Serve(ctx context.Context, ready func(addrs []string)) (err error) {
	s, err := NewServer(f.id, f.store, f.limits, f.now)
	if err != nil {
		return err
	}
	if err := s.Tick(); err != nil {
		return err
	}
	if f.cfg.Figures != "" {
		page, err := showFigures(f.cfg.Figures, s)
		if err != nil {
			return errListen(err)
		}
		defer page.close() // nobody waits for what it was saying
		f.shown = page.addr
	}
	hosted := p2p.FerryConfig{Seed: f.keys.seed, Listen: f.cfg.Listen, Certificate: f.cert,
		OnSession: func(st p2p.Stream, client []byte, from netip.Addr) { _ = s.Serve(st, client, from) }}
	if f.limits.Closed {
		hosted.Holder = s.Holder
	}
	host, err := p2p.NewFerry(hosted)
	if err != nil {
		return errListen(err)
	}
	s.circuits.Store(host)
	defer func() { err = errors.Join(err, host.Close()) }()
	ready(host.Addrs())
	hours := f.hours
	if hours == nil {
		t := time.NewTicker(time.Hour)
		defer t.Stop()
		hours = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Failed():
			return s.Err()
		case <-hours:
			if err := s.Tick(); err != nil {
				return err
			}
		}
	}
}

// Figures returns the address at which figures are shown, with its real port, once
// Serve is ready; it is empty if they are not.
func (f *Ferry) Figures() string { return f.shown }

// Import takes in a bundle, as Server.Import does, while the ferry does not serve.
func (f *Ferry) Import(bundle io.Reader) (Imported, error) {
	s, err := NewServer(f.id, f.store, f.limits, f.now)
	if err != nil {
		return Imported{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return s.Import(bundle)
}
