// Loads the page's modules. Browsers give up a file whose line breaks: then, and where one never comes, begin anew.
const PATIENCE = 15000; // milliseconds
const AGAIN = 1500;
const anew = () => location.reload();
const late = setTimeout(anew, PATIENCE);

import("./guests.js").then(
  () => (window.Terminal && window.FitAddon ? clearTimeout(late) : setTimeout(anew, AGAIN)),
  () => setTimeout(anew, AGAIN),
);
