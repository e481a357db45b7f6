// Starts Swagger UI on the page. In a file, since the site's policy allows no script in a page.
const main = document.getElementById("docs");

SwaggerUIBundle({
  domNode: main,
  url: main.dataset.url,
  validatorUrl: null, // a validator elsewhere would be asked
  deepLinking: true,
  displayRequestDuration: true,
});
