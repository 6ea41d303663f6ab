// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server runs a handler on a listener, with limits against slow and hostile
// clients.
type Server struct {
	Handler http.Handler
	TLS     *tls.Config   // nil serves plain HTTP
	Grace   time.Duration // for requests that run when the context ends: 10 s
	Log     *slog.Logger  // what goes wrong with connections; nil drops it
}

// Serve answers until the context ends, then lets running requests finish for
// Grace and returns nil. It closes the listener. Any other error of the
// listener is returned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		TLSConfig:         s.TLS,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn),
	}
	if s.Log != nil {
		srv.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)
	}
	ended := make(chan error, 1)
	go func() {
		if s.TLS != nil {
			ended <- srv.ServeTLS(l, "", "")
		} else {
			ended <- srv.Serve(l)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace := s.Grace
	if grace <= 0 {
		grace = 10 * time.Second
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // what is left is cut; uploads can go on after a restart
	}
	<-ended
	return err
}
