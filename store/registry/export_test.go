// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"net/url"
	"time"
)

// SetBackoff makes the pauses between attempts short.
func (g *Registry) SetBackoff(d time.Duration) { g.backoff = d }

// What fuzz targets reach.
var (
	ContentRange = contentRange
	RangeEnd     = rangeEnd
	ReadSession  = readSession
)

// NextPage is the query of the next page.
func NextPage(r *http.Response) (url.Values, error) { return nextPage(r) }
