// Follows plain clicks on links between pages within the running session, as its menu and the browser's history do.
// Anything else (a new tab, a copied address) is left to the browser.
export default function () {
  document.removeEventListener("click", window.kwFollow);
  window.kwFollow = follow;
  document.addEventListener("click", follow);
}

function follow(event) {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.composedPath().find((node) => node.matches?.("a[data-kw-page]"));
  if (!link) return;
  if (document.querySelector('[data-testid="stConnectionStatus"]')) return; // no session to follow it in
  event.preventDefault();
  history.pushState({}, "", link.href);
  dispatchEvent(new PopStateEvent("popstate"));
  document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}
