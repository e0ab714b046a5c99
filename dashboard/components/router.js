// Follows plain clicks on links between pages within the running session, as its menu and the browser's history do.
// Anything else (a new tab, a copied address) is left to the browser.
//
// A page completes its own address with what is chosen on it. That is no step to go back to: Streamlit's pushes within a
// page take the place of the address before.
const push = (window.kwPush ??= history.pushState.bind(history));

history.pushState = (state, title, url) => {
  const isSamePage = new URL(url ?? "", location.href).pathname === location.pathname;
  (isSamePage ? history.replaceState.bind(history) : push)(state, title, url);
};

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
  push({}, "", link.href);
  dispatchEvent(new PopStateEvent("popstate"));
  document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}
