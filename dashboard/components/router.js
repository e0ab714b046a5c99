// Takes plain clicks on links between pages to the running session. Anything else (a new tab, a copied address) is
// left to the browser.
export default function ({ parentElement, setTriggerValue }) {
  const host = parentElement.host ?? parentElement;
  const follow = (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[data-kw-page]");
    if (!link) return;
    event.preventDefault();
    setTriggerValue("link", link.getAttribute("href"));
  };
  // The script is called at each drawing: one listener at a time.
  if (host.kwFollow) document.removeEventListener("click", host.kwFollow);
  host.kwFollow = follow;
  document.addEventListener("click", follow);
  return () => document.removeEventListener("click", follow);
}
