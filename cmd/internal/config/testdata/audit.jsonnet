function(ctx) { identity: ctx.identity.id }
