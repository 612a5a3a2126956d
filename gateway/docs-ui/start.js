'use strict';
// Everything comes from this server: no validator of somebody else's, no token kept when the page is left.
SwaggerUIBundle({
    url: '/openapi.json',
    dom_id: '#docs',
    docExpansion: 'list',
    deepLinking: true,
    validatorUrl: null,
    persistAuthorization: false,
    syntaxHighlight: { activated: false },
});
