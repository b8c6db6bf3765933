const page = document.getElementById("docs");
SwaggerUIBundle({
  domNode: page,
  url: page.dataset.schema,
  deepLinking: true,
  validatorUrl: null,
});
