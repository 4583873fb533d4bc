package p2p

import (
	"bufio"
	"errors"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// link is the message channel of one proven connection, on the stream that
// carried its proof. Three goroutines serve it: read, write, deliver.
type link struct {
	id      LinkID
	host    *Host
	conn    *conn
	peer    peer.ID
	stream  network.Stream
	proven  proven
	since   time.Time
	arrived chan []byte   // from read to deliver, unbuffered: back-pressure
	wake    chan struct{} // for write: the queue or closing changed
	hinted  chan struct{} // for deliver: ids wait
	gone    chan struct{} // closed when the connection is closed
	down    chan struct{} // closed when LinkDown has been delivered
	giveUp  sync.Once

	mu      sync.Mutex
	queue   [][]byte // frames
	queued  int      // their bytes, with the one being written
	closing bool     // nothing more is queued; write ends the stream when the queue is empty
	drain   *time.Timer
	ids     [][32]byte
}

func newLink(h *Host, id LinkID, c *conn, s network.Stream, p proven) *link {
	return &link{
		id: id, host: h, conn: c, peer: c.RemotePeer(), stream: s, proven: p, since: time.Now(),
		arrived: make(chan []byte), wake: make(chan struct{}, 1), hinted: make(chan struct{}, 1),
		gone: make(chan struct{}), down: make(chan struct{}),
	}
}

// start begins the traffic of a link; false if the host is closing.
func (l *link) start() bool {
	return l.host.spawn(l.deliver, l.read, l.write)
}

// stop gives the connection up. It never blocks for long and may be called from
// anywhere.
func (l *link) stop() {
	l.giveUp.Do(func() {
		l.host.forget(l)
		l.mu.Lock()
		l.closing = true
		if l.drain != nil {
			l.drain.Stop()
		}
		l.mu.Unlock()
		l.conn.Close()
		close(l.gone)
	})
}

// finish sends what is queued, ends the stream, and waits for the other side to
// have read it all, for at most bounds.drain.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return
	}
	l.closing = true
	l.drain = time.AfterFunc(l.host.bounds.drain, l.stop)
	signal(l.wake)
}

func (l *link) isClosing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// send queues a copy of data.
func (l *link) send(data []byte) error {
	if len(data) == 0 || len(data) > MaxMessage {
		return errors.New("p2p: a message has a length out of bounds")
	}
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return ErrNoLink
	}
	if l.queued+frameHead+len(data) > l.host.bounds.queue {
		l.mu.Unlock()
		l.stop()
		return ErrBehind
	}
	l.queue = append(l.queue, Frame(data))
	l.queued += frameHead + len(data)
	signal(l.wake)
	l.mu.Unlock()
	return nil
}

// hint hands ids to deliver. What is too much is dropped: hints may be missed.
func (l *link) hint(ids [][32]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ids)+len(ids) > l.host.bounds.hints {
		return
	}
	l.ids = append(l.ids, ids...)
	signal(l.hinted)
}

func (l *link) write() {
	defer l.stop()
	for {
		l.mu.Lock()
		var next []byte
		if len(l.queue) > 0 {
			next, l.queue[0] = l.queue[0], nil
			l.queue = l.queue[1:]
		}
		closing := l.closing
		l.mu.Unlock()
		if next == nil {
			if closing {
				l.stream.CloseWrite()
				<-l.gone // the reader sees the other side's end, or the drain timer fires
				return
			}
			select {
			case <-l.wake:
			case <-l.gone:
				return
			}
			continue
		}
		l.host.count(next[frameHead:], false) // before the other side can answer
		l.stream.SetWriteDeadline(time.Now().Add(l.host.bounds.stall))
		if _, err := l.stream.Write(next); err != nil {
			return
		}
		l.mu.Lock()
		l.queued -= len(next)
		l.mu.Unlock()
	}
}

// read ends with the stream; then the connection is given up, by which the
// other side learns that all was read.
func (l *link) read() {
	defer close(l.arrived)
	defer l.stop()
	r := bufio.NewReaderSize(l.stream, 4096)
	for {
		data, err := ReadFrame(r)
		if err != nil {
			return
		}
		l.host.count(data, true)
		select {
		case l.arrived <- data:
		case <-l.gone:
			return
		}
	}
}

func (l *link) deliver() {
	tell := l.host.onEvent
	tell(LinkUp{Link: l.id, Class: l.proven.class, Tag: l.proven.tag, Dialled: l.conn.dialled,
		Circuit: l.conn.circuit, Addr: l.conn.RemoteMultiaddr().String(), Device: l.proven.device})
	for open := true; open; {
		select {
		case data, ok := <-l.arrived:
			if open = ok; ok {
				tell(Message{Link: l.id, Data: data})
			}
		case <-l.hinted:
			l.mu.Lock()
			ids := l.ids
			l.ids = nil
			l.mu.Unlock()
			tell(Hints{Link: l.id, IDs: ids})
		}
	}
	tell(LinkDown{Link: l.id})
	close(l.down)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
