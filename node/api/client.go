package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Bounds of what a client reads.
const (
	maxAnswer    = 256 << 20 // a list of all notices that a device can hold in practice
	maxLine      = 4 << 10   // an event
	helloTimeout = 10 * time.Second
)

// Client hands commands to the running node of a profile.
type Client struct {
	path string
	http *http.Client
}

// Dial finds the running node of a profile. It returns ErrNotRunning if there
// is none, a stale socket or no folder included, and CodeNotAnswering if one
// listens and says nothing for ten seconds.
func Dial(profile string) (*Client, error) {
	path, err := SocketPath(profile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	c := &Client{path: path}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
			DisableKeepAlives:      true, // one command, one connection: nothing to close
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("palabre sends nobody elsewhere") },
	}
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	if err := c.hello(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, &Error{Code: CodeNotAnswering, Text: "palabre runs on this profile and does not answer"}
		}
		return nil, err
	}
	return c, nil
}

// dial opens the socket, and checks that this user listens there.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("reach palabre: %w", err)
	}
	if unix, ok := c.(*net.UnixConn); !ok || !sameUser(unix) {
		_ = c.Close()
		return nil, errors.New("the control socket belongs to another user")
	}
	return c, nil
}

func (c *Client) hello(ctx context.Context) error {
	answer, err := c.send(ctx, http.MethodGet, pathHello, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	doc, err := whole(answer)
	if err != nil {
		return err
	}
	var h Hello
	if err := json.Unmarshal(doc, &h); err != nil || h.Program != HelloProgram {
		return errors.New("something that is not palabre answers on the control socket")
	}
	if h.API != HelloAPI {
		return &Error{Code: CodeNewerVersion, Text: "another version of palabre runs on this profile"}
	}
	return nil
}

// Do hands over a command and returns its result as a json.RawMessage.
func (c *Client) Do(ctx context.Context, command string, args json.RawMessage) (any, error) {
	if !Known(command) {
		return nil, &Error{Code: CodeUnknownCommand, Text: "there is no such command"}
	}
	if len(args) > MaxRequest {
		return nil, &Error{Code: CodeTooLarge, Text: "the request is too large"}
	}
	if args == nil {
		args = json.RawMessage("{}")
	}
	answer, err := c.send(ctx, http.MethodPost, pathRoot+command, args)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	doc, err := whole(answer)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(doc), nil
}

// Watch hands each event to f; see Backend. It returns ErrNotRunning when the
// node ended, and CodeBusy for who read so slowly that events were dropped: ask
// for the whole state, and watch again.
func (c *Client) Watch(ctx context.Context, f func(Event) error) error {
	answer, err := c.send(ctx, http.MethodGet, pathWatch, nil)
	if err != nil {
		return ended(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, err := whole(answer)
		return err
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line struct {
			Event
			Error
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return ended(ctx, ErrNotRunning) // a line that was cut off with the node
		}
		if line.Code != "" {
			return &line.Error
		}
		if err := f(line.Event); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return errors.New("an event is too long")
	}
	return ended(ctx, ErrNotRunning)
}

// ended makes the end that was asked for no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+hostName+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("reach palabre: %w", err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", typeJSON)
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, ErrNotRunning):
		return nil, ErrNotRunning
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("reach palabre: %w", err)
	}
	return answer, nil
}

// whole reads an answer, or the error that it is.
func whole(answer *http.Response) ([]byte, error) {
	doc, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of palabre: %w", err)
	}
	if len(doc) > maxAnswer {
		return nil, errors.New("the answer of palabre is too long")
	}
	if answer.StatusCode == http.StatusOK {
		return doc, nil
	}
	var e Error
	if err := json.Unmarshal(doc, &e); err != nil || e.Code == "" {
		return nil, fmt.Errorf("palabre answers with status %d", answer.StatusCode)
	}
	return nil, &e
}
