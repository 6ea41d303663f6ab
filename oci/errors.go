// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"fmt"
)

// The kinds of errors, for errors.Is. Every error that dray returns is of one
// of these kinds, or is a context's error, or comes from the file system.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("credentials needed")   // who are you
	ErrDenied       = errors.New("access denied")        // not you, or not there
	ErrInvalid      = errors.New("invalid")              // input that breaks its format
	ErrCorrupt      = errors.New("corrupt")              // bytes that do not match their digest or size
	ErrExists       = errors.New("already exists")       // refused to overwrite
	ErrUnsupported  = errors.New("not supported")        // the place cannot do that
	ErrBusy         = errors.New("busy or out of reach") // worth trying again later
)

// Error says what was being done and where. It prints as "op place: cause",
// without what is empty.
type Error struct {
	Op    string
	Place string
	Err   error
}

func (e *Error) Error() string {
	switch {
	case e.Op == "" && e.Place == "":
		return e.Err.Error()
	case e.Op == "":
		return e.Place + ": " + e.Err.Error()
	case e.Place == "":
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + e.Place + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wrap gives err an operation and a place; nil stays nil. A place that err
// begins with already is not said twice.
func Wrap(op, place string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e.Place == place && (op == "" || e.Op == "" || e.Op == op) {
		if op == "" {
			return err
		}
		err = e.Err
	}
	return &Error{Op: op, Place: place, Err: err}
}

// kindError is an error with a kind behind it.
type kindError struct{ kind, err error }

func (e *kindError) Error() string { return e.err.Error() }

func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// Errorf makes an error of a kind. The kind is not part of the text; a %w in
// the format adds a cause, as in fmt.Errorf.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}

// Moved is the error of a name that was to be changed and by now means something
// else, or nothing: "".
func Moved(now Digest) error {
	if now == "" {
		return Errorf(ErrBusy, "the tag was removed while it was edited: try again")
	}
	return Errorf(ErrBusy, "the tag has moved to %s while it was edited: try again", now)
}
