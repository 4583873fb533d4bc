package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Paths and types of the socket.
const (
	pathHello = "/v1/hello"
	pathWatch = "/v1/watch"
	pathRoot  = "/v1/"
	hostName  = "palabre" // the one Host that is answered
	typeJSON  = "application/json"
	typeLines = "application/jsonl"
)

// Hello says who answers on the socket.
type Hello struct {
	Program string `json:"program"` // HelloProgram
	API     int    `json:"api"`     // HelloAPI
}

// What Hello says in this version.
const (
	HelloProgram = "palabre"
	HelloAPI     = 1
)

// handler checks each request in one order: host and origin, place, method,
// type, size, number at once; only then the backend is asked.
type handler struct {
	running  context.Context // of the server
	backend  Backend
	report   func(error)
	commands chan struct{} // one entry for each that runs
	watches  chan struct{}
}

func newHandler(running context.Context, b Backend, report func(error)) *handler {
	return &handler{running: running, backend: b, report: report,
		commands: make(chan struct{}, MaxCommands), watches: make(chan struct{}, MaxWatches)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	// A page in a browser cannot open a Unix socket; a bridge to one that lets
	// pages through is stopped here.
	if r.Host != hostName || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		h.fail(w, http.StatusForbidden, CodeBadRequest, "this request comes from elsewhere")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.running, cancel)()
	r = r.WithContext(ctx)
	switch command, ok := strings.CutPrefix(r.URL.Path, pathRoot); {
	case r.URL.Path == pathHello:
		h.hello(w, r)
	case r.URL.Path == pathWatch:
		h.watch(w, r)
	case ok && Known(command) && r.URL.RawQuery == "":
		h.command(w, r, command)
	default:
		h.fail(w, http.StatusNotFound, CodeUnknownCommand, "there is no such command")
	}
}

func (h *handler) hello(w http.ResponseWriter, r *http.Request) {
	if h.method(w, r, http.MethodGet) {
		h.answer(w, http.StatusOK, Hello{HelloProgram, HelloAPI})
	}
}

func (h *handler) command(w http.ResponseWriter, r *http.Request, command string) {
	if !h.method(w, r, http.MethodPost) {
		return
	}
	if types := r.Header["Content-Type"]; len(types) != 1 || types[0] != typeJSON {
		h.fail(w, http.StatusUnsupportedMediaType, CodeBadRequest, "the content type is not "+typeJSON)
		return
	}
	if !take(h.commands) {
		h.fail(w, http.StatusServiceUnavailable, CodeBusy, "too many requests at once")
		return
	}
	defer func() { <-h.commands }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		h.fail(w, http.StatusRequestEntityTooLarge, CodeTooLarge, "the request is too large")
		return
	case err != nil:
		h.fail(w, http.StatusBadRequest, CodeBadRequest, "the request did not come whole")
		return
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := CheckArgs(command, body); err != nil {
		h.failed(w, command, err)
		return
	}
	result, err := h.do(r.Context(), command, body)
	if err != nil {
		h.failed(w, command, err)
		return
	}
	h.answer(w, http.StatusOK, result)
}

// do asks the backend. A panic there is told as a fault: net/http would hide it.
func (h *handler) do(ctx context.Context, command string, args json.RawMessage) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s: %v", command, p)
		}
	}()
	return h.backend.Do(ctx, command, args)
}

func (h *handler) watch(w http.ResponseWriter, r *http.Request) {
	if !h.method(w, r, http.MethodGet) {
		return
	}
	if !take(h.watches) {
		h.fail(w, http.StatusServiceUnavailable, CodeBusy, "too many programs watch at once")
		return
	}
	defer func() { <-h.watches }()
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", typeLines)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	err := h.backend.Watch(r.Context(), func(e Event) error {
		line, err := encode(e)
		if err != nil {
			return err
		}
		// Who does not read is left behind rather than waited for.
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		h.cutOff(w, err)
	}
}

// cutOff tells a watcher why it hears no more. The answer has begun, so that the
// error is its last line; if the line does not get through, nor did the event.
func (h *handler) cutOff(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		h.report(fmt.Errorf("watch: %w", err))
		e = &Error{Code: CodeInternal, Text: "something went wrong inside palabre"}
	}
	if line, err := encode(e); err == nil {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = w.Write(append(line, '\n'))
	}
}

// method is exact: HEAD and OPTIONS get nothing.
func (h *handler) method(w http.ResponseWriter, r *http.Request, want string) bool {
	if r.Method == want {
		return true
	}
	w.Header().Set("Allow", want)
	h.fail(w, http.StatusMethodNotAllowed, CodeBadRequest, "the method is not "+want)
	return false
}

func (h *handler) answer(w http.ResponseWriter, status int, v any) {
	doc, err := encode(v)
	if err != nil {
		h.report(fmt.Errorf("encode an answer: %w", err))
		status = http.StatusInternalServerError
		doc = json.RawMessage(`{"error":"something went wrong inside palabre","hint":"","code":"` + CodeInternal + `"}`)
	}
	w.Header().Set("Content-Type", typeJSON)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(append(doc, '\n')) // who went away does not need the answer
}

func (h *handler) fail(w http.ResponseWriter, status int, code, text string) {
	h.answer(w, status, &Error{Code: code, Text: text})
}

// failed tells a client what is wrong with its request. Other errors may name
// paths and states; they are reported here and not told.
func (h *handler) failed(w http.ResponseWriter, command string, err error) {
	var e *Error
	switch {
	case errors.As(err, &e):
		h.answer(w, http.StatusUnprocessableEntity, e)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		h.fail(w, http.StatusServiceUnavailable, CodeInterrupted, "palabre ended before this was done")
	default:
		h.fault(w, fmt.Errorf("%s: %w", command, err))
	}
}

func (h *handler) fault(w http.ResponseWriter, err error) {
	h.report(err)
	h.fail(w, http.StatusInternalServerError, CodeInternal, "something went wrong inside palabre")
}

// take claims a place, or says that none is left.
func take(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		return false
	}
}
