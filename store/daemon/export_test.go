// SPDX-License-Identifier: Apache-2.0

package daemon

// Loaded reads the answer of an engine to a load.
var Loaded = loaded
