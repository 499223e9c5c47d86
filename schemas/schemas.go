// Package schemas embeds what is written in a language of its own: SQL
// migrations, identity schemas, the schemas of events and of requests on the bus,
// the descriptions of the HTTP API and of the bus.
package schemas

import "embed"

//go:generate go -C .. run ./cmd/internal/contract page

// SQL holds the goose migrations, sql/postgres and sql/sqlite.
//
//go:embed sql
var SQL embed.FS

// Identity holds the built-in identity schemas.
//
//go:embed identity
var Identity embed.FS

// Events holds one JSON Schema per event type, <type>.schema.json.
//
//go:embed events
var Events embed.FS

// Requests holds one JSON Schema for each request and reply on the bus,
// <name>.request.schema.json and <name>.reply.schema.json.
//
//go:embed requests
var Requests embed.FS

// OpenAPI describes every route of the public and the admin listener.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI describes every subject and message on the bus.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
