// Starts Swagger UI on the page. In a file, since the site's policy allows no script in a page.
const place = document.getElementById("docs");

// The key outlives a reload. It goes with the tab: Swagger UI's own persistAuthorization would leave
// it in the browser, for whoever uses it next.
const STORED = "docs.authorization";

const keepAuthorization = {
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (authorize) => (given) => {
          sessionStorage.setItem(STORED, JSON.stringify(given));
          return authorize(given);
        },
        logout: (logout) => (names) => {
          sessionStorage.removeItem(STORED);
          return logout(names);
        },
      },
    },
  },
};

// Its dark colours, where the page is dark.
const root = document.documentElement;
const followTheme = () => root.classList.toggle("dark-mode", root.dataset.bsTheme === "dark");
new MutationObserver(followTheme).observe(root, { attributeFilter: ["data-bs-theme"] });
followTheme();

const ui = SwaggerUIBundle({
  domNode: place,
  url: place.dataset.url,
  validatorUrl: null, // a validator elsewhere would be asked
  deepLinking: true,
  displayRequestDuration: true,
  plugins: [keepAuthorization],
  onComplete: () => {
    const stored = sessionStorage.getItem(STORED);
    if (stored) ui.authActions.authorize(JSON.parse(stored));
  },
});
