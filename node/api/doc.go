// Package api is what a program says to a running palabre, and what it hears
// back: the commands, their JSON, and the socket that carries them. The command
// line, the page and other programs use the same commands.
//
// Start with Dial for a profile folder, then Call:
//
//	c, err := api.Dial(dir)
//	status, err := api.Call[api.Status](ctx, c, api.CommandStatus, nil)
//
// Promised: command names, JSON field names and error codes do not change their
// meaning. Fields may be added to results; unknown fields in arguments are an
// error, because a misspelt option that is passed over could post to the wrong
// people. Lists are JSON arrays, [] when empty. Times are RFC 3339 in UTC. Ids
// are lower-case hex; an argument may shorten one to any unambiguous prefix of
// at least 6 digits. Group may be left out where the profile has one group.
//
// The socket is HTTP/1.1 over a Unix socket that only the same user reaches:
// POST /v1/{command} with one JSON object, GET /v1/watch for events as JSON
// lines, GET /v1/hello to see who answers. An error is {"error","hint","code"}
// with a status of 400 or more.
package api
